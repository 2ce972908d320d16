"""Operating the platform: storage, quality, maintenance."""
