"""What two floors need: errors, checks, seeds, events, device, settings."""
