//! Packet headers as overlays on bytes, and their checksums.
