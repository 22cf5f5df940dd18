"""The forges: GitHub, GitLab and none. Each reads the event of a run and publishes its report; none imports another."""
