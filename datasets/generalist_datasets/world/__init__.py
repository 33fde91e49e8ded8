"""The composed world: scenes of named things with exact answers."""
