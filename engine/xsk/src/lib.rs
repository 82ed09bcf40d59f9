//! AF_XDP sockets as a Port.
