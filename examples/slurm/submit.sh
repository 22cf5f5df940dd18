#!/bin/sh
# Submits a plan to Slurm: one Slurm job for each job of the plan, which starts when the jobs that it needs are done, and
# `cml gather` as the last one. Run it in a clone that all nodes can access. Options are passed to sbatch, for example:
# submit.sh --partition short
set -eu
top=$(git rev-parse --show-toplevel)
plan=$(mktemp)
trap 'rm -f "$plan" "$plan.lines"' EXIT
cml plan >"$plan"
python3 - "$plan" >"$plan.lines" <<'END'
import json, sys
jobs = json.load(open(sys.argv[1]))["jobs"]
number = {job["name"]: at for at, job in enumerate(jobs)}
for job in jobs:
    needs = ",".join(f"{number[need]}" for need in job["needs"])
    fields = (",".join(job["stages"]), needs, job["timeout"], job["gpu"] and "gpu:1", "&".join(job["tags"]))
    print(number[job["name"]], *(field or "-" for field in fields))
END

every=
while read -r number stages needs minutes gres constraint; do
  after=
  for need in $(echo "$needs" | tr ',-' '  '); do
    eval "after=\$after:\$job_$need"
  done
  # Each job works in its own clone, at the commit of the plan.
  id=$(
    sbatch --parsable --job-name "cml-${stages%%,*}" ${after:+--dependency "afterok$after"} "$@" <<END
#!/bin/sh
#SBATCH --kill-on-invalid-dep yes
$([ "$minutes" = - ] || echo "#SBATCH --time $minutes")
$([ "$gres" = - ] || echo "#SBATCH --gres $gres")
$([ "$constraint" = - ] || echo "#SBATCH --constraint $constraint")
set -eu
place=\$(mktemp -d)
trap 'rm -rf "\$place"' EXIT
git clone --quiet --no-checkout '$top' "\$place"
cd "\$place"
git checkout --quiet --detach $(git rev-parse HEAD)
cml run --stages='$stages'
END
  )
  eval "job_$number=\$id"
  every=$every:$id
done <"$plan.lines"

sbatch --parsable --job-name cml-gather ${every:+--dependency "afterany$every"} "$@" <<END
#!/bin/sh
set -eu
cd '$top'
cml gather --push
END
