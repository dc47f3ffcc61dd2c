"""Generated from the published protos of the same package."""
