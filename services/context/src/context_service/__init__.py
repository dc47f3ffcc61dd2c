"""The context of a story for AI agents, now and at any moment of the past."""
