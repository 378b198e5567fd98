"""What is in the files of a log, and a config for it: `userbench inspect`."""
