"""Protocols that judge features, one a file: settings in, a `Result` out."""
