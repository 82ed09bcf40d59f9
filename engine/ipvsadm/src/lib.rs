//! The command line and the listings of ipvsadm 1.31, as data.
