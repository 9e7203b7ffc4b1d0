"""Molecular dynamics keeps what it must, and policies change nothing that is observed."""
