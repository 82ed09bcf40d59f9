// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Redirect: every frame goes to the AF_XDP socket of the queue it came in on, for benches of bare sockets. It is the
 * least that a program in front of a socket can do.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
