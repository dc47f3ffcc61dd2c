"""How fast it is, each file answering one question against a named rival: ``python -m benchmarks NAME``."""
