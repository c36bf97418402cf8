//! Tools around the extension.
