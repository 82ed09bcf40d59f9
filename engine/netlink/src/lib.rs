//! Next hops, neighbours and addresses, from and to the kernel over rtnetlink.
