//! Secrets, where they come from and how they are attached.
