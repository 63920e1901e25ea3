//! The shell around a machine: driver loop, timers, peer links, settings, telemetry, health, shutdown
