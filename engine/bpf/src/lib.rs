//! The eBPF programs of lbd and their loaders.
