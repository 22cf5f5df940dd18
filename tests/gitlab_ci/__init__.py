"""The GitLab template, run by gitlab-ci-local: `make test-gitlab`."""
