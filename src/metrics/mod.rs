//! All metric families in one struct.
