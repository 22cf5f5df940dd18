"""The GitLab templates, run by gitlab-ci-local: `make test-gitlab`."""
