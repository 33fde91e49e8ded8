"""Adapters learnt from a few labelled images."""
