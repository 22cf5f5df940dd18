"""The places a run can happen in, and how each is told what happened. They never import each other."""
