"""Network blocks that families of several groups share."""
