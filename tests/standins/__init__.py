"""Stand-ins for GitHub and GitLab: HTTP servers on loopback that refuse what the real ones refuse. No tests here."""
