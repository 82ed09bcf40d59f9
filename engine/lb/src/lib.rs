//! A layer-4 load balancer to embed.

mod config;

pub use config::{Config, ConfigError, EngineConfig, ServerConfig, ServiceConfig, Workers};
