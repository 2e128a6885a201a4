"""Speed of this package, with the machine's own limits beside it."""
