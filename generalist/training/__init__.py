"""Training of codecs and models."""
