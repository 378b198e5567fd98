"""Event logs: tables of (user, item, time) with ids of any type -> the array store, and tasks."""
