//! Files that are sent from the disk.
