/* The bench's load: keep-alive connections that each send the next request when they have the answer to the last.
 *
 *     load PORT CONNECTIONS WARM_UP_S SECONDS TOKENS < request
 *
 * Standard input holds one whole HTTP/1.1 request. TOKENS is how often the word `tok` stands in a right answer; streams
 * must also end with `[DONE]`. A wrong answer is an error, and the first one is told. Prints a line `measuring` after
 * the warm-up, then one line of JSON: count, answered (with the warm-up), wall and CPU seconds, latencies and times to
 * the first token in microseconds (the median and 99th percentile), errors. One thread, epoll.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 1024
#define MOST_SAMPLES (8 * 1024 * 1024)
#define FIRST_ROOM 65536

typedef struct {
    int fd, status, tokens, chunked, done;
    char *raw;             /* the answer as it came */
    size_t used, room;
    size_t head, length;   /* bytes of its head; of its body, when it says so */
    size_t at;             /* how far chunks are read */
    size_t searched;       /* how far tokens are counted */
    int64_t sent_ns, first_ns;
} connection;

static connection connections[MOST_CONNECTIONS];
static char request[1 << 20];
static size_t request_length;
static int port, wanted_tokens, loop_fd, measuring;
static uint32_t *latencies, *firsts; /* units of 100 ns */
static size_t count, answered, errors, reconnects;
static char first_error[400];

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static double cpu_s(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void send_request(connection *c) {
    c->used = c->head = c->length = c->at = c->searched = 0;
    c->status = c->tokens = c->chunked = c->done = 0;
    c->first_ns = 0;
    c->sent_ns = now_ns();
    size_t sent = 0;
    while (sent < request_length) {
        ssize_t n = send(c->fd, request + sent, request_length - sent, MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR) return; /* the end of the connection is read next */
    }
}

static void open_connection(connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("cannot connect");
        exit(1);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(loop_fd, EPOLL_CTL_ADD, c->fd, &event);
    send_request(c);
}

static void reopen(connection *c) {
    close(c->fd);
    reconnects++;
    open_connection(c);
}

static void fail(connection *c, const char *why) {
    if (measuring) errors++;
    if (first_error[0]) return;
    size_t shown = c->used < 300 ? c->used : 300;
    int n = snprintf(first_error, sizeof first_error, "%s: ", why);
    for (size_t i = 0; i < shown && n < (int)sizeof first_error - 2; i++) {
        unsigned char byte = (unsigned char)c->raw[i];
        first_error[n++] = byte < 32 || byte > 126 || byte == '"' || byte == '\\' ? ' ' : (char)byte;
    }
    first_error[n] = 0;
}

/* Reads the head once it is there; 0 until then. */
static int read_head(connection *c) {
    char *end = memmem(c->raw, c->used, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    c->status = c->used > 12 ? atoi(c->raw + 9) : -1;
    char *length = strcasestr(c->raw, "\r\ncontent-length:");
    c->chunked = strcasestr(c->raw, "\r\ntransfer-encoding: chunked") != NULL;
    c->length = length ? strtoul(length + 17, NULL, 10) : 0;
    *end = '\r';
    c->head = c->at = c->searched = (size_t)(end + 4 - c->raw);
    return 1;
}

/* Whether the answer is complete; goes on where it stopped. */
static int complete(connection *c) {
    if (!c->head && !read_head(c)) return 0;
    if (!c->chunked) return c->used - c->head >= c->length;
    while (c->at < c->used) {
        char *line = c->raw + c->at, *end = memmem(line, c->used - c->at, "\r\n", 2);
        if (!end) return 0;
        size_t size = strtoul(line, NULL, 16), next = (size_t)(end + 2 - c->raw) + size + 2;
        if (next > c->used) return 0;
        c->at = next;
        if (size == 0) return 1;
    }
    return 0;
}

static void count_tokens(connection *c) {
    char *at = c->raw + c->searched, *end = c->raw + c->used;
    while ((at = memmem(at, (size_t)(end - at), "\"tok ", 5))) {
        if (!c->tokens++) c->first_ns = now_ns();
        at += 5;
        c->searched = (size_t)(at - c->raw);
    }
    if (c->used > c->searched + 4) c->searched = c->used - 4;
    if (!c->head || c->searched < c->head) c->searched = c->head;
}

static void finish(connection *c) {
    int64_t taken = now_ns() - c->sent_ns;
    int streamed = wanted_tokens > 1;
    size_t tail = c->used < 200 ? c->used : 200;
    if (c->status != 200) fail(c, "status");
    else if (c->tokens != wanted_tokens) fail(c, "tokens");
    else if (streamed && !memmem(c->raw + c->used - tail, tail, "[DONE]", 6)) fail(c, "no [DONE]");
    else {
        answered++;
        if (!measuring || count == MOST_SAMPLES) return;
        latencies[count] = (uint32_t)(taken / 100);
        firsts[count++] = (uint32_t)((c->first_ns - c->sent_ns) / 100);
    }
}

static void read_more(connection *c) {
    if (c->room - c->used < 16384) c->raw = realloc(c->raw, c->room = c->room ? c->room * 2 : FIRST_ROOM);
    ssize_t n = recv(c->fd, c->raw + c->used, c->room - c->used, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        if (c->used || n < 0) fail(c, "the connection broke");
        reopen(c);
        return;
    }
    c->used += (size_t)n;
    int whole = complete(c);
    if (c->head) count_tokens(c);
    if (!whole) return;
    finish(c);
    /* An answer with this header ends the connection. */
    char *close_it = memmem(c->raw, c->head, "onnection: close", 16);
    if (close_it) reopen(c);
    else send_request(c);
}

static void run_until(int64_t end_ns) {
    struct epoll_event events[MOST_CONNECTIONS];
    while (now_ns() < end_ns) {
        int n = epoll_wait(loop_fd, events, MOST_CONNECTIONS, 50);
        for (int i = 0; i < n; i++) read_more(events[i].data.ptr);
    }
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_us(const uint32_t *sorted, double q) {
    return count ? sorted[(size_t)(q * (double)(count - 1))] / 10.0 : 0;
}

static void report(double wall_s, double cpu) {
    qsort(latencies, count, sizeof *latencies, by_size);
    qsort(firsts, count, sizeof *firsts, by_size);
    printf("{\"count\":%zu,\"answered\":%zu,\"wall_s\":%.4f,\"cpu_s\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"first_p50_us\":%.1f,\"first_p99_us\":%.1f,\"errors\":%zu,\"reconnects\":%zu,\"first_error\":\"%s\"}\n",
           count, answered, wall_s, cpu, quantile_us(latencies, .5), quantile_us(latencies, .99), quantile_us(firsts, .5),
           quantile_us(firsts, .99), errors, reconnects, first_error);
}

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "usage: load PORT CONNECTIONS WARM_UP_S SECONDS TOKENS < request\n"), 2;
    port = atoi(argv[1]);
    int open = atoi(argv[2]);
    double warm_up_s = atof(argv[3]), seconds = atof(argv[4]);
    wanted_tokens = atoi(argv[5]);
    if (open < 1 || open > MOST_CONNECTIONS) return fprintf(stderr, "1 to %d connections\n", MOST_CONNECTIONS), 2;
    request_length = fread(request, 1, sizeof request, stdin);
    latencies = malloc(MOST_SAMPLES * sizeof *latencies);
    firsts = malloc(MOST_SAMPLES * sizeof *firsts);
    signal(SIGPIPE, SIG_IGN);
    loop_fd = epoll_create1(0);
    for (int i = 0; i < open; i++) open_connection(&connections[i]);
    run_until(now_ns() + (int64_t)(warm_up_s * 1e9));
    puts("measuring");
    fflush(stdout);
    measuring = 1;
    int64_t started = now_ns();
    double cpu = cpu_s();
    run_until(started + (int64_t)(seconds * 1e9));
    report((double)(now_ns() - started) / 1e9, cpu_s() - cpu);
    return 0;
}
