/* The floor: what the steps of a container cost when a C program does them, and nothing else. For bench/run.py.
 *
 * The same road as minikube_lite/linux: a warm process forks a shim, the shim forks PID 1, PID 1 makes the cgroups
 * and limits, enters namespaces, mounts an overlay root with /proc, /dev, /sys and the cgroup trees, masks, pivots,
 * drops capabilities and execs; the shim waits, kills and removes the cgroups and leaves an exit record.
 * No JSON, no checks for hostile images, nothing configurable: less than any runtime does.
 *
 *     cc -O2 -o floor floor.c; floor LOWERDIR COMMAND TREE...
 *
 * For each line `BUNDLE CGROUP` on stdin it runs COMMAND once and answers `START_NS WHOLE_NS`: from the request to
 * execve(2) done, and to everything removed. BUNDLE holds the directories rootfs, upper and work. A TREE is the mount
 * point of a cgroup hierarchy; its last component says which one (cpu, memory, pids, devices, unified, …).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(call) do { if ((call) < 0) { fprintf(stderr, "floor:%d: %s: %m\n", __LINE__, #call); _exit(125); } } while (0)
#define NONE (MS_NOSUID | MS_NOEXEC | MS_NODEV)

static char **trees, *lower, *command;
static int count;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static const char *base(const char *path) { return strrchr(path, '/') + 1; }

static void put(const char *directory, const char *file, const char *text) {
    char path[512], back[64];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd);
    CHECK(write(fd, text, strlen(text)));
    if (pread(fd, back, sizeof back, 0) < 0 && errno != EBADF && errno != EINVAL) CHECK(-1);
    close(fd);
}

static int is_v2(const char *tree) { return !strcmp(tree, "unified") || !strcmp(tree, "cgroup"); }

/* Make the cgroup in the v2 tree, for the container to be born in; -1 where there is no such tree. */
static int make_v2(const char *name) {
    char path[512];
    for (int i = 0; i < count; i++)
        if (is_v2(base(trees[i]))) {
            snprintf(path, sizeof path, "%s/%s", trees[i], name);
            CHECK(mkdir(path, 0755));
            int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
            CHECK(fd);
            return fd;
        }
    return -1;
}

static void make_cgroups(const char *name) {
    static const char *devices[] = {"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
                                    "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"};
    char path[512];
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", trees[i], name);
        const char *tree = base(trees[i]);
        if (!is_v2(tree)) CHECK(mkdir(path, 0755));
        if (!strcmp(tree, "cpu") || !strcmp(tree, "cpu,cpuacct")) {
            put(path, "cpu.cfs_period_us", "100000");
            put(path, "cpu.cfs_quota_us", "20000");
            put(path, "cpu.shares", "204");
        } else if (!strcmp(tree, "memory")) {
            put(path, "memory.limit_in_bytes", "67108864");
        } else if (!strcmp(tree, "devices")) {
            put(path, "devices.deny", "a");
            for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) put(path, "devices.allow", devices[d]);
        } else if (!strcmp(tree, "cgroup")) { /* v2 only: the controllers must be on in the tree's top */
            put(path, "cpu.max", "20000 100000");
            put(path, "cpu.weight", "20");
            put(path, "memory.max", "67108864");
        }
        if (!is_v2(tree)) put(path, "tasks", "0"); /* one thread moves itself: no lock, no RCU grace period */
    }
}

static void remove_cgroups(const char *name) {
    char path[512];
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", trees[i], name);
        for (int tries = 0; rmdir(path) < 0 && tries < 1000; tries++) {
            if (errno != EBUSY) CHECK(-1);
            usleep(100);
        }
    }
}

static void loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

static void mount_at(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    if (mkdir(target, 0755) < 0 && errno != EEXIST) CHECK(-1);
    CHECK(mount(source, target, type, flags, data));
}

static void make_dev(void) {
    static const struct { const char *name; int major, minor; } nodes[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
        {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    mount_at("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        CHECK(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
        CHECK(chmod(nodes[i].name, 0666));
    }
    CHECK(symlink("/proc/self/fd", "dev/fd"));
    CHECK(symlink("/proc/self/fd/0", "dev/stdin"));
    CHECK(symlink("/proc/self/fd/1", "dev/stdout"));
    CHECK(symlink("/proc/self/fd/2", "dev/stderr"));
    CHECK(symlink("pts/ptmx", "dev/ptmx"));
    mount_at("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount_at("shm", "dev/shm", "tmpfs", NONE, "mode=1777,size=65536k");
    mount_at("mqueue", "dev/mqueue", "mqueue", NONE, NULL);
}

static void show_cgroups(const char *name) {
    char source[512], target[512];
    CHECK(mount("tmpfs", "sys/fs/cgroup", "tmpfs", NONE, "mode=755"));
    for (int i = 0; i < count; i++) {
        snprintf(source, sizeof source, "%s/%s", trees[i], name);
        snprintf(target, sizeof target, "sys/fs/cgroup/%s", base(trees[i]));
        mount_at(source, target, NULL, MS_BIND, NULL);
        CHECK(mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | NONE, NULL));
    }
    CHECK(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | NONE, NULL));
}

static void mask(void) {
    static const char *hidden[] = {"proc/acpi", "proc/asound", "proc/interrupts", "proc/kcore", "proc/keys",
                                   "proc/latency_stats", "proc/timer_list", "proc/timer_stats", "proc/sched_debug",
                                   "proc/scsi", "sys/devices/virtual/powercap", "sys/firmware"};
    static const char *readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    struct stat is;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        if (stat(hidden[i], &is) < 0) continue;
        if (S_ISDIR(is.st_mode)) CHECK(mount("tmpfs", hidden[i], "tmpfs", MS_RDONLY, NULL));
        else CHECK(mount("/dev/null", hidden[i], NULL, MS_BIND, NULL));
    }
    for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0) continue;
        CHECK(mount(NULL, readonly[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | NONE, NULL));
    }
}

static void drop_capabilities(void) {
    uint64_t keep = 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FSETID | 1ULL << CAP_FOWNER |
                    1ULL << CAP_MKNOD | 1ULL << CAP_NET_RAW | 1ULL << CAP_SETGID | 1ULL << CAP_SETUID |
                    1ULL << CAP_SETFCAP | 1ULL << CAP_SETPCAP | 1ULL << CAP_NET_BIND_SERVICE |
                    1ULL << CAP_SYS_CHROOT | 1ULL << CAP_KILL | 1ULL << CAP_AUDIT_WRITE;
    for (int capability = 0; capability <= 40; capability++)
        if (!(keep >> capability & 1)) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{keep, keep, 0}, {keep >> 32, keep >> 32, 0}};
    CHECK(syscall(SYS_capset, &head, data));
}

static void become_container(const char *bundle, const char *cgroup) {
    char options[1024], root[512];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    make_cgroups(cgroup);
    CHECK(unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP));
    loopback_up();
    CHECK(sethostname("floor", 5));
    put(bundle, "state", "running");
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    snprintf(root, sizeof root, "%s/rootfs", bundle);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, bundle, bundle);
    CHECK(mount("overlay", root, "overlay", 0, options));
    CHECK(chdir(root));
    mount_at("proc", "proc", "proc", NONE, NULL);
    make_dev();
    mount_at("sysfs", "sys", "sysfs", NONE | MS_RDONLY, NULL);
    show_cgroups(cgroup);
    mask();
    CHECK(syscall(SYS_pivot_root, ".", "."));
    CHECK(umount2(".", MNT_DETACH));
    CHECK(chdir("/"));
    drop_capabilities();
    CHECK(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
    char *argv[] = {command, NULL}, *env[] = {"PATH=/bin", NULL};
    execve(command, argv, env);
    CHECK(-1);
}

static void be_shim(const char *bundle, const char *cgroup, int started) {
    int report[2], status;
    char byte;
    CHECK(pipe2(report, O_CLOEXEC));
    struct clone_args how = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
    int v2 = make_v2(cgroup);
    if (v2 >= 0) how.flags |= CLONE_INTO_CGROUP, how.cgroup = v2;
    pid_t pid = syscall(SYS_clone3, &how, sizeof how);
    CHECK(pid);
    if (pid == 0) become_container(bundle, cgroup);
    close(report[1]);
    CHECK(read(report[0], &byte, 1)); /* its end: the exec is done */
    CHECK(write(started, "", 1));
    CHECK(waitpid(pid, &status, 0));
    remove_cgroups(cgroup);
    put(bundle, "exit", status ? "failed" : "0");
    _exit(status ? 1 : 0);
}

int main(int argc, char **argv) {
    char bundle[256], cgroup[256], byte;
    if (argc < 4) return 2;
    lower = argv[1], command = argv[2], trees = argv + 3, count = argc - 3;
    while (scanf("%255s %255s", bundle, cgroup) == 2) {
        int started[2], status;
        int64_t begin = now(), exec_done;
        CHECK(pipe2(started, O_CLOEXEC));
        pid_t shim = fork();
        CHECK(shim);
        if (shim == 0) be_shim(bundle, cgroup, started[1]);
        close(started[1]);
        CHECK(read(started[0], &byte, 1));
        exec_done = now();
        CHECK(waitpid(shim, &status, 0));
        if (status) return 1;
        printf("%lld %lld\n", (long long)(exec_done - begin), (long long)(now() - begin));
        fflush(stdout);
        close(started[0]);
    }
    return 0;
}
