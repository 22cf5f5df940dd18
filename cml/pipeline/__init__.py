"""Everything that touches DVC, which is opened once per run.

`project` opens, pulls and reproduces; `objects` pushes and verifies what the remotes hold; `revisions` reads commits;
`dump` has dvc.lock written at once, `locks` unites it with another's; `messages` listens to DVC's own words. All of it
stands on `dvc.repo.Repo`, which DVC calls internal: so its minor version is pinned and tests/test_dvc_contract.py holds
each shape relied on.
"""
