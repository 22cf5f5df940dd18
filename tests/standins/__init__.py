"""Stand-ins for the forges: real HTTP servers on loopback that refuse what the real ones refuse. No test lives here."""
