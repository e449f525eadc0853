"""The systems that are compared; each does one transaction when told to."""
