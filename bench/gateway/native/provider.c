/* The bench's model provider: answers OpenAI's chat completions without looking at more than it must.
 *
 *     provider PORT
 *
 * The request's model says what comes back: `bench-D` is a plain answer after D ms, `bench-D-N` with `"stream":true`
 * a stream of N chunks whose first comes after D ms, `bench-D-N-P` one with P ms between chunks. Every chunk is one
 * write in one turn of the loop, so that chunks reach a proxy one by one and streams are interleaved. The chunk with
 * the usage is sent when the body holds `include_usage`. Any GET is answered with an empty list of models.
 * One thread, epoll, HTTP/1.1 with keep-alive; requests have a Content-Length or chunks.
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
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define FIRST_BUFFER 16384
#define CHUNK_SPACE 1024

typedef struct connection {
    int fd;
    char *in;
    size_t used, room;
    int answering; /* an answer is waiting or on its way */
    int streamed, chunks, sent, with_usage;
    int64_t pause_ns, due_ns;
    struct connection *before, *after;
} connection;

/* Answers that wait, soonest first. */
static connection *soonest, *latest;
static int loop_fd, timer_fd;
static char plain[2048], chunk[CHUNK_SPACE], ending[2 * CHUNK_SPACE], ending_with_usage[2 * CHUNK_SPACE];
static size_t plain_length, chunk_length, ending_length, ending_with_usage_length;
static const char *const stream_head =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    "transfer-encoding: chunked\r\n\r\n";
static const char *const models =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"object\":\"list\",\"data\":[]}";

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Appends one HTTP chunk that holds one server-sent event. */
static size_t add_event(char *at, size_t room, const char *data) {
    return (size_t)snprintf(at, room, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + 8, data);
}

static void prepare_answers(void) {
#define HEAD "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","
#define USAGE "\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":60,\"total_tokens\":84}"
    const char *body =
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"tok the order 1042 was sent "
        "on Tuesday and arrives tomorrow before noon.\"},\"finish_reason\":\"stop\",\"logprobs\":null}]," USAGE "}";
    plain_length = (size_t)snprintf(plain, sizeof plain,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", strlen(body), body);
    chunk_length = add_event(chunk, sizeof chunk, HEAD
        "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"tok \"},\"finish_reason\":null}]}");
    const char *stop = HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}";
    size_t n = add_event(ending, sizeof ending, stop);
    n += add_event(ending + n, sizeof ending - n, "[DONE]");
    ending_length = n + (size_t)snprintf(ending + n, sizeof ending - n, "0\r\n\r\n");
    n = add_event(ending_with_usage, sizeof ending_with_usage, stop);
    n += add_event(ending_with_usage + n, sizeof ending_with_usage - n, HEAD "\"choices\":[]," USAGE "}");
    n += add_event(ending_with_usage + n, sizeof ending_with_usage - n, "[DONE]");
    ending_with_usage_length =
        n + (size_t)snprintf(ending_with_usage + n, sizeof ending_with_usage - n, "0\r\n\r\n");
}

static void unlink_answer(connection *c) {
    if (c->before) c->before->after = c->after; else soonest = c->after;
    if (c->after) c->after->before = c->before; else latest = c->before;
    c->before = c->after = NULL;
}

static void put_off(connection *c, int64_t due_ns) {
    connection *before = latest;
    c->due_ns = due_ns;
    while (before && before->due_ns > due_ns) before = before->before;
    c->before = before;
    c->after = before ? before->after : soonest;
    if (c->after) c->after->before = c; else latest = c;
    if (before) before->after = c; else soonest = c;
}

static void hang_up(connection *c) {
    if (c->answering) unlink_answer(c);
    close(c->fd);
    free(c->in);
    free(c);
}

/* Sends all of it, or says that the caller is gone: answers are small, a full buffer means nobody reads. */
static int send_all(connection *c, const char *data, size_t length) {
    while (length) {
        ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n <= 0) return 0;
        data += n;
        length -= (size_t)n;
    }
    return 1;
}

static long number_after(const char **at) {
    if (**at != '-') return 0;
    return strtol(*at + 1, (char **)at, 10);
}

static void begin_answer(connection *c, const char *body, size_t length) {
    const char *model = memmem(body, length, "bench-", 6);
    const char *at = model ? model + 5 : "";
    long delay_ms = number_after(&at), chunks = number_after(&at), pause_ms = number_after(&at);
    c->streamed = memmem(body, length, "\"stream\":true", 13) || memmem(body, length, "\"stream\": true", 14);
    c->with_usage = memmem(body, length, "include_usage", 13) != NULL;
    c->chunks = (int)(chunks ? chunks : 20);
    c->sent = 0;
    c->pause_ns = pause_ms * 1000000LL;
    c->answering = 1;
    put_off(c, now_ns() + delay_ms * 1000000LL);
}

/* Length of the request's body when it is complete at `body`, with `*total` bytes of it on the wire; else -1. */
static ssize_t whole_body(connection *c, char *head_end, size_t *total) {
    char *body = head_end + 4;
    size_t have = c->used - (size_t)(body - c->in);
    *head_end = 0;
    char *length = strcasestr(c->in, "\r\ncontent-length:");
    int chunked = strcasestr(c->in, "\r\ntransfer-encoding: chunked") != NULL;
    *head_end = '\r';
    if (chunked) {
        char *last = memmem(body, have, "0\r\n\r\n", 5);
        if (!last) return -1;
        *total = (size_t)(last + 5 - body);
        return (ssize_t)*total;
    }
    *total = length ? strtoul(length + 17, NULL, 10) : 0;
    return have < *total ? -1 : (ssize_t)*total;
}

/* Answers the request in the buffer once it is complete; 0 when the caller is gone. */
static int take_request(connection *c) {
    while (!c->answering) {
        char *end = memmem(c->in, c->used, "\r\n\r\n", 4);
        if (!end) return 1;
        size_t total;
        ssize_t length = whole_body(c, end, &total);
        if (length < 0) return 1;
        if (memcmp(c->in, "GET", 3) == 0) {
            if (!send_all(c, models, strlen(models))) return 0;
        } else {
            begin_answer(c, end + 4, (size_t)length);
        }
        size_t taken = (size_t)(end + 4 - c->in) + total;
        memmove(c->in, c->in + taken, c->used - taken);
        c->used -= taken;
    }
    return 1;
}

static void go_on(connection *c) {
    unlink_answer(c);
    c->answering = 0;
    if (!c->streamed) {
        if (!send_all(c, plain, plain_length) || !take_request(c)) hang_up(c);
        return;
    }
    int ok;
    if (c->sent == c->chunks) {
        ok = c->with_usage ? send_all(c, ending_with_usage, ending_with_usage_length)
                           : send_all(c, ending, ending_length);
        if (!ok || !take_request(c)) hang_up(c);
        return;
    }
    ok = (c->sent > 0 || send_all(c, stream_head, strlen(stream_head))) && send_all(c, chunk, chunk_length);
    if (!ok) {
        hang_up(c);
        return;
    }
    c->sent++;
    c->answering = 1;
    put_off(c, now_ns() + c->pause_ns);
}

static void read_more(connection *c) {
    if (c->used == c->room) c->in = realloc(c->in, c->room *= 2);
    ssize_t n = recv(c->fd, c->in + c->used, c->room - c->used, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    c->used += (size_t)n;
    if (!take_request(c)) hang_up(c);
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        connection *c = calloc(1, sizeof *c);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        c->in = malloc(c->room = FIRST_BUFFER);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(loop_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024)) {
        perror("cannot listen");
        exit(1);
    }
    return fd;
}

/* Waits for events until the next answer is due; a timer, since epoll counts in milliseconds. */
static int wait_for_events(struct epoll_event *events) {
    int64_t left = soonest ? soonest->due_ns - now_ns() : -1;
    if (soonest && left <= 0) return epoll_wait(loop_fd, events, EVENTS, 0);
    struct itimerspec at = {{0, 0}, {0, 0}};
    if (soonest) {
        at.it_value.tv_sec = soonest->due_ns / 1000000000LL;
        at.it_value.tv_nsec = soonest->due_ns % 1000000000LL;
        timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    }
    return epoll_wait(loop_fd, events, EVENTS, -1);
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: provider PORT\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    prepare_answers();
    int listener = listen_on(atoi(argv[1]));
    loop_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener}, events[EVENTS];
    epoll_ctl(loop_fd, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &timer_fd;
    epoll_ctl(loop_fd, EPOLL_CTL_ADD, timer_fd, &event);
    for (;;) {
        int count = wait_for_events(events);
        for (int i = 0; i < count; i++) {
            uint64_t rung;
            if (events[i].data.ptr == &listener) welcome(listener);
            else if (events[i].data.ptr == &timer_fd) { if (read(timer_fd, &rung, sizeof rung)) {} }
            else read_more(events[i].data.ptr);
        }
        /* Answers that put themselves off during this turn wait for the next one. */
        int64_t now = now_ns();
        connection *last = latest;
        while (last && last->due_ns > now) last = last->before;
        for (connection *c = last ? soonest : NULL, *next; c; c = next) {
            next = c == last ? NULL : c->after;
            go_on(c);
        }
    }
}
