"""The report: the view that templates see, its Markdown, HTML, terminal and OpenMetrics forms, and its plots."""
