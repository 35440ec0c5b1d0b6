// Tells ThreadSanitizer what the standard library synchronizes in functions of its own.
//
// Without its sources, the standard library cannot be built with the sanitizer, so that the sanitizer does not see these
// functions acquire and release, and would report what they protect. The linker calls the functions below instead (its
// option --wrap). CRATE is the name of the standard library in symbols, which differs between toolchains.

#include <stdbool.h>
#include <stdint.h>

#ifndef __x86_64__
#error "the signatures have been verified for x86-64 only"
#endif

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define ORIGINAL(symbol) __asm__("__real_" symbol)
#define WRAPPER(symbol) __asm__("__wrap_" symbol)

#define SYNC "_RNvMNtNtNtNt" CRATE "3sys4sync"
#define MUTEX_LOCK SYNC "5mutex5futexNtB2_5Mutex14lock_contended"
#define RWLOCK_READ SYNC "6rwlock5futexNtB2_6RwLock14read_contended"
#define RWLOCK_WRITE SYNC "6rwlock5futexNtB2_6RwLock15write_contended"
#define CONDVAR_WAIT SYNC "7condvar5futexNtB2_7Condvar4wait"
#define CONDVAR_WAIT_TIMEOUT SYNC "7condvar5futexNtB2_7Condvar12wait_timeout"
#define ONCE_CALL "_RNvMs0_NtNtNtNt" CRATE "3sys4sync4once5futexNtB5_4Once4call"
#define SCOPE_END "_RNvMNtNt" CRATE "6thread6scopedNtB2_9ScopeData29decrement_num_running_threads"

void mutex_lock(void *mutex) ORIGINAL(MUTEX_LOCK);
void wrapped_mutex_lock(void *mutex) WRAPPER(MUTEX_LOCK);
void wrapped_mutex_lock(void *mutex) {
    mutex_lock(mutex);
    __tsan_acquire(mutex);
}

void rwlock_read(void *lock) ORIGINAL(RWLOCK_READ);
void wrapped_rwlock_read(void *lock) WRAPPER(RWLOCK_READ);
void wrapped_rwlock_read(void *lock) {
    rwlock_read(lock);
    __tsan_acquire(lock);
}

void rwlock_write(void *lock) ORIGINAL(RWLOCK_WRITE);
void wrapped_rwlock_write(void *lock) WRAPPER(RWLOCK_WRITE);
void wrapped_rwlock_write(void *lock) {
    rwlock_write(lock);
    __tsan_acquire(lock);
}

void condvar_wait(void *condvar, void *mutex) ORIGINAL(CONDVAR_WAIT);
void wrapped_condvar_wait(void *condvar, void *mutex) WRAPPER(CONDVAR_WAIT);
void wrapped_condvar_wait(void *condvar, void *mutex) {
    __tsan_release(mutex);
    condvar_wait(condvar, mutex);
    __tsan_acquire(mutex);
}

bool condvar_wait_timeout(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds)
    ORIGINAL(CONDVAR_WAIT_TIMEOUT);
bool wrapped_condvar_wait_timeout(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds)
    WRAPPER(CONDVAR_WAIT_TIMEOUT);
bool wrapped_condvar_wait_timeout(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds) {
    __tsan_release(mutex);
    bool notified = condvar_wait_timeout(condvar, mutex, seconds, nanoseconds);
    __tsan_acquire(mutex);
    return notified;
}

void once_call(void *once, bool ignore_poison, void *closure, void *methods, void *caller) ORIGINAL(ONCE_CALL);
void wrapped_once_call(void *once, bool ignore_poison, void *closure, void *methods, void *caller)
    WRAPPER(ONCE_CALL);
void wrapped_once_call(void *once, bool ignore_poison, void *closure, void *methods, void *caller) {
    once_call(once, ignore_poison, closure, methods, caller);
    __tsan_acquire(once);
    __tsan_release(once);
}

// The counter of running threads is somewhere in the three words of the structure.
void scope_end(void *scope, bool panicked) ORIGINAL(SCOPE_END);
void wrapped_scope_end(void *scope, bool panicked) WRAPPER(SCOPE_END);
void wrapped_scope_end(void *scope, bool panicked) {
    for (int word = 0; word < 3; word++) {
        __tsan_release((char *)scope + word * sizeof(void *));
    }
    scope_end(scope, panicked);
}
