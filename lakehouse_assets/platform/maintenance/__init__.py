"""Upkeep of a lake: compaction, removal of old files, a sampled day validated again."""
