/* Loaded before all else, it refuses what would leave the machine and writes each attempt as a line to $NO_NETWORK_LOG. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *call, const char *where) {
    char line[512];
    int length = snprintf(line, sizeof line, "%s %s\n", call, where);
    int file = open(getenv("NO_NETWORK_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) {
        if (write(file, line, length) < 0) abort();
        close(file);
    }
}

/* Whether the address is this machine's own; what is no internet address can't leave it. */
static int is_local(const struct sockaddr *address) {
    if (address == NULL) return 1;
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return 1;
}

static int refuses(const char *call, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (is_local(address)) return 0;
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
    else
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
    note(call, text);
    errno = ENETUNREACH;
    return 1;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return refuses("connect", address) ? -1 : next(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    return refuses("sendto", address) ? -1 : next(socket, data, size, flags, address, length);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    ssize_t (*next)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    return refuses("sendmsg", message->msg_name) ? -1 : next(socket, message, flags);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    struct in6_addr scratch;
    if (name == NULL || strcmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &scratch) == 1 ||
        inet_pton(AF_INET6, name, &scratch) == 1)
        return next(name, service, hints, found);
    note("getaddrinfo", name);
    return EAI_FAIL;
}
