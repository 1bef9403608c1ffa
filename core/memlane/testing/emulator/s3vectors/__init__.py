"""Amazon S3 Vectors as docs/emulator.md says it behaves."""
