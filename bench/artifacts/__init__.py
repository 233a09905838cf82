"""Pictures and tables of a run that need torch to make; reports read them from files."""
