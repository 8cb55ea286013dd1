/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See testlib_child.h.
 */
#include "testlib_child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct outcome *shared(void) {
    void *memory = mmap(NULL, sizeof(struct outcome), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    memset(memory, 0, sizeof(struct outcome));
    return memory;
}

struct outcome in_child(const char *folder, void (*body)(struct outcome *)) {
    struct outcome *out = shared(), copy;
    int status = 0;
    pid_t child;
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (chdir(folder) != 0) {
            _exit(1);
        }
        body(out);
        _exit(0);
    }
    CHECK_EQ_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ_INT(WEXITSTATUS(status), 0);
    copy = *out;
    munmap(out, sizeof(*out));
    if (copy.skipped != 0) {
        printf("    skipped: %s\n", strerror(copy.skipped));
    }
    return copy;
}

bool deny(struct outcome *out, long number, unsigned argument, unsigned flag, int error) {
    struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 3),
            /* The low half of the argument, on machines that keep it first. */
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                     (unsigned)offsetof(struct seccomp_data, args) + 8 * argument),
            BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flag, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(filter), filter};
    if (flag == 0) {
        /* Not a flag: the jump that tests it goes to the error in any case. */
        filter[3] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0, 0, 0);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        out->skipped = errno;
        return false;
    }
    return true;
}

/* The bit that O_TMPFILE has besides O_DIRECTORY. */
#define TMPFILE_BIT ((unsigned)(O_TMPFILE & ~O_DIRECTORY))

bool no_unnamed_files(struct outcome *out) {
    return deny(out, SYS_openat, 2, TMPFILE_BIT, EOPNOTSUPP);
}

bool become_nobody(struct outcome *out) {
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setegid(65534) != 0 || seteuid(65534) != 0)) {
        out->skipped = errno;
        return false;
    }
    return true;
}
