// Shifts the wall clock of a process and of all that it starts, while they run: CLOCK_REALTIME shows the
// time plus the seconds that stand in a shared file. Steady clocks are left alone. For LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int (*gettime_fn)(clockid_t, struct timespec *);
typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                        const posix_spawnattr_t *, char *const[], char *const[]);

static volatile const int64_t *shift;  // of the file, mapped before any sandbox
static gettime_fn next_gettime;        // the C library's: no system call, so no sandbox forbids it

__attribute__((constructor)) static void begin(void) {
  next_gettime = (gettime_fn)dlsym(RTLD_NEXT, "clock_gettime");
  const char *path = getenv("WALLCLOCK");
  const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *page = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) shift = page;
}

int clock_gettime(clockid_t id, struct timespec *now) {
  const int done =
      next_gettime ? next_gettime(id, now) : (int)syscall(SYS_clock_gettime, id, now);
  if (done == 0 && shift && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
    now->tv_sec += *shift;
  return done;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

// Children are started with an environment of their own, so what makes us work is added to it.
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const environment[]) {
  static char preload[4200], file[4200];
  char *all[64];
  size_t count = 0;
  snprintf(preload, sizeof preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
  snprintf(file, sizeof file, "WALLCLOCK=%s", getenv("WALLCLOCK"));
  all[count++] = preload;
  all[count++] = file;
  while (*environment && count < 63) all[count++] = *environment++;
  all[count] = NULL;
  const spawn_fn next = (spawn_fn)dlsym(RTLD_NEXT, "posix_spawn");
  return next(pid, path, actions, attributes, argv, all);
}
