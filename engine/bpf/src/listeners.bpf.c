// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Listeners: does to the TCP sockets that listen already what src/toa.bpf.c does to those that begin to, or undoes it.
 *
 * It is run once over all TCP sockets of the network namespace. Kernels before 6.12 refuse one of the two settings in
 * this place; such servers have to be started again once.
 */
#include <linux/bpf.h>
#include <linux/tcp.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#define SOL_TCP 6

/* TCP_BPF_SOCK_OPS_CB_FLAGS of linux/bpf.h since 6.12, which the headers here may be older than. */
#define SOCK_OPS_CB_FLAGS 1008

const volatile bool wanted;

__u32 set;
__u32 refused;

/* src/toa.bpf.c's. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u8);
} listeners SEC(".maps");

/* As much of the kernel's types as we use; where it lies is found out when the program is loaded. */
struct sock_common {
	unsigned char skc_state;
} __attribute__((preserve_access_index));

struct bpf_iter_meta;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} __attribute__((preserve_access_index));

struct tcp_sock;

/* Whether the kernel keeps the SYNs of this socket's connections, as wished; it may have done so for the program itself. */
static __always_inline bool save_syns(struct tcp_sock *socket)
{
	int save = 0;

	if (wanted) {
		bpf_getsockopt(socket, SOL_TCP, TCP_SAVE_SYN, &save, sizeof(save));
		if (save)
			return true;
		save = 1;
		return bpf_sk_storage_get(&listeners, socket, 0, BPF_SK_STORAGE_GET_F_CREATE) &&
		       !bpf_setsockopt(socket, SOL_TCP, TCP_SAVE_SYN, &save, sizeof(save));
	}
	return bpf_sk_storage_delete(&listeners, socket) ||
	       !bpf_setsockopt(socket, SOL_TCP, TCP_SAVE_SYN, &save, sizeof(save));
}

static __always_inline bool look_at_packets(struct tcp_sock *socket)
{
	int flags = 0;

	if (bpf_getsockopt(socket, SOL_TCP, SOCK_OPS_CB_FLAGS, &flags, sizeof(flags)))
		return false;
	if (wanted)
		flags |= BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG;
	else
		flags &= ~BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG;
	return !bpf_setsockopt(socket, SOL_TCP, SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
}

SEC("iter/tcp")
int existing(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *socket;

	if (!common || common->skc_state != BPF_TCP_LISTEN)
		return 0;
	socket = bpf_skc_to_tcp_sock(common);
	if (!socket)
		return 0;
	if (save_syns(socket) && look_at_packets(socket))
		set += 1;
	else
		refused += 1;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
