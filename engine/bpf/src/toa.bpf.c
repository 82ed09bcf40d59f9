// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * TOA: programs see the client's address where the kernel sees the balancer's.
 *
 * An FNAT balancer writes the client's address into a TCP option (docs/wire-formats.md). It is read once per connection
 * and kept in the socket's own storage, so it lives exactly as long as the socket, whatever other connections have the same
 * addresses. Programs get it from accept() and getpeername(), which ask the same hook. The connection itself stays what it is:
 * ss, netfilter and the kernel's own tables show the balancer.
 *
 * The option is looked for in the SYN (which the kernel keeps for us), in the handshake's last packet, and then in what
 * comes up to the first data; after that the socket's packets are not looked at any more.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/tcp.h>

#include "toa.h"

#include "trust.bpf.h"

/* From libc's headers, which clash with the kernel's. */
#define AF_INET 2
#define SOL_TCP 6

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_TOA 254
#define TOA_V4_LENGTH 8
#define TOA_V6_LENGTH 20

/* A TCP header with all its options; more than that for the verifier, which knows an index only as a mask. */
#define HEADER_MAX 60
#define HEADER_MASK 63
#define HEADER_ROOM (HEADER_MASK + 1 + TOA_V6_LENGTH)

const volatile __u64 network_namespace; /* the cookie of ours */
const volatile bool every_namespace;

/* The client, in network order; IPv4 is IPv4-mapped. */
struct client {
	struct in6_addr address;
	__be16 port;
	__u16 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct client);
} clients SEC(".maps");

/* Those sockets that listen whose SYNs are kept because of us. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u8);
} listeners SEC(".maps");

/* Reads the option from a TCP header, if it is there. */
static __always_inline bool read_option(const __u8 *header, __u32 length, struct client *client)
{
	__u32 end = (header[12] >> 4) * 4;
	__u32 at = sizeof(struct tcphdr);
	int i;

	if (end > length)
		return false;
	for (i = 0; i < HEADER_MAX - (int)sizeof(struct tcphdr); i++) {
		__u8 kind, size;

		if (at + 2 > end)
			return false;
		at &= HEADER_MASK;
		asm volatile("" : "+r"(at)); /* or the compiler forgets the mask that the verifier wants */
		kind = header[at];
		size = header[at + 1];
		if (kind == OPTION_END)
			return false;
		if (kind == OPTION_NOP) {
			at += 1;
			continue;
		}
		if (size < 2 || at + size > end)
			return false;
		if (kind == OPTION_TOA && (size == TOA_V4_LENGTH || size == TOA_V6_LENGTH)) {
			__builtin_memcpy(&client->port, header + at + 2, sizeof(client->port));
			if (size == TOA_V4_LENGTH) {
				__be32 v4;

				__builtin_memcpy(&v4, header + at + 4, sizeof(v4));
				client->address = mapped(v4);
			} else {
				__builtin_memcpy(&client->address, header + at + 4,
						 sizeof(client->address));
			}
			return true;
		}
		at += size;
	}
	return false;
}

static __always_inline bool from_packet(struct bpf_sock_ops *ctx, struct client *client)
{
	__u8 header[HEADER_ROOM] = {};
	const __u8 *data = ctx->skb_data;
	const __u8 *end = ctx->skb_data_end;
	__u32 i;

	for (i = 0; i < HEADER_MAX; i++) {
		if (data + i + 1 > end)
			break;
		header[i] = data[i];
	}
	return i >= sizeof(struct tcphdr) && read_option(header, i, client);
}

static __always_inline bool from_syn(struct bpf_sock_ops *ctx, struct client *client)
{
	__u8 header[HEADER_ROOM] = {};
	int length = bpf_getsockopt(ctx, SOL_TCP, TCP_BPF_SYN, header, HEADER_MAX);

	return length >= (int)sizeof(struct tcphdr) && read_option(header, length, client);
}

static __always_inline bool has_data(const struct bpf_sock_ops *ctx)
{
	const struct tcphdr *header = ctx->skb_data;

	if ((const void *)(header + 1) > (const void *)ctx->skb_data_end)
		return false;
	return ctx->skb_len > header->doff * 4u;
}

static __always_inline struct in6_addr peer(const struct bpf_sock_ops *ctx)
{
	/* Word by word and volatile: the verifier allows the context to be read in words only. */
	const volatile __u32 *words = ctx->remote_ip6;
	struct in6_addr address;

	if (ctx->family == AF_INET)
		return mapped(*(const volatile __u32 *)&ctx->remote_ip4);
	address.in6_u.u6_addr32[0] = words[0];
	address.in6_u.u6_addr32[1] = words[1];
	address.in6_u.u6_addr32[2] = words[2];
	address.in6_u.u6_addr32[3] = words[3];
	return address;
}

static __always_inline void keep(struct bpf_sock_ops *ctx, struct client *client)
{
	struct bpf_sock *sk = ctx->sk;

	if (sk && bpf_sk_storage_get(&clients, sk, client, BPF_SK_STORAGE_GET_F_CREATE))
		count(COUNTER_RESTORED);
	else
		count(COUNTER_FAILED);
}

static __always_inline void look_at_packets(struct bpf_sock_ops *ctx, bool wanted)
{
	int flags = ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG;

	/*
	 * All and not just unknown options: the kernel knows our kind where the client's port looks like the magic number
	 * of Fast Open's experiment.
	 */
	if (wanted)
		flags |= BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG;
	bpf_sock_ops_cb_flags_set(ctx, flags);
}

static __always_inline void on_listen(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	int save = 0;

	bpf_getsockopt(ctx, SOL_TCP, TCP_SAVE_SYN, &save, sizeof(save));
	if (!save && sk && bpf_sk_storage_get(&listeners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE)) {
		save = 1;
		bpf_setsockopt(ctx, SOL_TCP, TCP_SAVE_SYN, &save, sizeof(save));
	}
	look_at_packets(ctx, true); /* which its connections inherit */
}

static __always_inline void on_established(struct bpf_sock_ops *ctx)
{
	struct client client = {};
	struct in6_addr source = peer(ctx);

	if (!is_trusted(&source)) {
		if (from_packet(ctx, &client) || from_syn(ctx, &client))
			count(COUNTER_UNTRUSTED);
		look_at_packets(ctx, false);
	} else if (from_packet(ctx, &client) || from_syn(ctx, &client)) {
		keep(ctx, &client);
		look_at_packets(ctx, false);
	} else {
		count(COUNTER_WITHOUT);
		look_at_packets(ctx, !has_data(ctx));
	}
}

/* Packets that the kernel expects exactly as they come, so without our option, do not get here. */
static __always_inline void on_packet(struct bpf_sock_ops *ctx)
{
	struct client client = {};

	if (ctx->bytes_received) {
		look_at_packets(ctx, false);
		return;
	}
	if (from_packet(ctx, &client))
		keep(ctx, &client);
	else if (!has_data(ctx))
		return;
	look_at_packets(ctx, false);
}

static __always_inline bool concerns_us(struct bpf_sock_ops *ctx)
{
	return every_namespace || bpf_get_netns_cookie(ctx) == network_namespace;
}

/* The kernel asks several times for each connection; most of what it asks is nothing to us. */
SEC("sockops")
int events(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		if (concerns_us(ctx))
			on_listen(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		if (concerns_us(ctx))
			on_established(ctx);
		break;
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		if (concerns_us(ctx))
			on_packet(ctx);
		break;
	}
	return 1;
}

static __always_inline const struct client *client_of(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&clients, sk, 0, 0) : 0;
}

SEC("cgroup/getpeername4")
int peer_name_4(struct bpf_sock_addr *ctx)
{
	const struct client *client = client_of(ctx);

	/* An IPv6 client cannot be told to a program that asked for IPv4. */
	if (client && is_mapped_v4(&client->address)) {
		ctx->user_ip4 = client->address.in6_u.u6_addr32[3];
		ctx->user_port = client->port;
	}
	return 1;
}

SEC("cgroup/getpeername6")
int peer_name_6(struct bpf_sock_addr *ctx)
{
	const struct client *client = client_of(ctx);

	if (client) {
		ctx->user_ip6[0] = client->address.in6_u.u6_addr32[0];
		ctx->user_ip6[1] = client->address.in6_u.u6_addr32[1];
		ctx->user_ip6[2] = client->address.in6_u.u6_addr32[2];
		ctx->user_ip6[3] = client->address.in6_u.u6_addr32[3];
		ctx->user_port = client->port;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
