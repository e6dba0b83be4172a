// Writes each announced text in upper case to the store `output`.
#define _GNU_SOURCE // asprintf
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef exports_wasmrun_task_handler_failure_t failure_t;

// Sets the failure that rejects the message: no retry mends it. Returns false, as a failed `handle` does.
static bool reject(failure_t *failure, const char *reason) {
    failure->tag = EXPORTS_WASMRUN_TASK_HANDLER_FAILURE_REJECT;
    guest_string_dup(&failure->val.reject, reason);
    return false;
}

// Converts an error of a store about an object: retried is what may work later, when the store is back or the grant
// corrected.
static bool failed(failure_t *failure, guest_string_t key, guest_string_t store,
                   const wasmrun_task_object_store_error_t *error) {
    static const char *const names[] = {"not-found", "access-denied", "too-large", "precondition-failed",
                                        "unavailable"};
    guest_string_t why = error->val.other;
    if (error->tag != WASMRUN_TASK_OBJECT_STORE_ERROR_OTHER) guest_string_set(&why, names[error->tag]);
    char *reason;
    if (asprintf(&reason, "%.*s in store %.*s: %.*s", (int)key.len, (const char *)key.ptr, (int)store.len,
                 (const char *)store.ptr, (int)why.len, (const char *)why.ptr) < 0)
        abort();
    if (error->tag != WASMRUN_TASK_OBJECT_STORE_ERROR_UNAVAILABLE &&
        error->tag != WASMRUN_TASK_OBJECT_STORE_ERROR_ACCESS_DENIED)
        return reject(failure, reason);
    failure->tag = EXPORTS_WASMRUN_TASK_HANDLER_FAILURE_RETRY;
    failure->val.retry.delay_seconds.is_some = false;
    guest_string_set(&failure->val.retry.reason, reason);
    return false;
}

// Whether the bytes are UTF-8 (RFC 3629).
static bool is_utf8(const uint8_t *at, size_t len) {
    for (size_t i = 0; i < len;) {
        uint8_t first = at[i++];
        size_t more = first < 0x80 ? 0 : first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || len - i < more) return false;
        for (size_t n = 0; n < more; n++, i++) {
            uint8_t low = 0x80, high = 0xbf;
            if (n == 0 && first == 0xe0) low = 0xa0;
            if (n == 0 && first == 0xed) high = 0x9f;
            if (n == 0 && first == 0xf0) low = 0x90;
            if (n == 0 && first == 0xf4) high = 0x8f;
            if (at[i] < low || at[i] > high) return false;
        }
    }
    return true;
}

static bool shout(const wasmrun_task_message_announced_object_t *announced, failure_t *failure) {
    wasmrun_task_object_store_error_t error;
    wasmrun_task_object_store_own_store_t input, output;
    guest_string_t source = announced->store, key = announced->key, version = announced->version.val, target;
    if (!wasmrun_task_object_store_static_store_open(&source, &input, &error))
        return failed(failure, key, source, &error);
    wasmrun_task_object_store_object_t object;
    if (!wasmrun_task_object_store_method_store_get(wasmrun_task_object_store_borrow_store(input), &key,
                                                    announced->version.is_some ? &version : NULL, &object, &error))
        return failed(failure, key, source, &error);
    wasmrun_task_object_store_store_drop_own(input);
    guest_list_u8_t content = object.content;
    if (!is_utf8(content.ptr, content.len)) {
        char *reason;
        if (asprintf(&reason, "%.*s is not UTF-8 text", (int)key.len, (const char *)key.ptr) < 0) abort();
        return reject(failure, reason);
    }
    for (size_t i = 0; i < content.len; i++)
        if (content.ptr[i] >= 'a' && content.ptr[i] <= 'z') content.ptr[i] -= 'a' - 'A';
    guest_string_set(&target, "output");
    if (!wasmrun_task_object_store_static_store_open(&target, &output, &error))
        return failed(failure, key, target, &error);
    wasmrun_task_object_store_put_options_t options = {0};
    options.content_type.is_some = true;
    guest_string_set(&options.content_type.val, "text/plain");
    options.condition.tag = WASMRUN_TASK_OBJECT_STORE_CONDITION_ALWAYS;
    wasmrun_task_object_store_object_info_t info;
    if (!wasmrun_task_object_store_method_store_put(wasmrun_task_object_store_borrow_store(output), &key, &content,
                                                    &options, &info, &error))
        return failed(failure, key, target, &error);
    wasmrun_task_object_store_store_drop_own(output);
    return true;
}

// The memory of a task goes with the task, so nothing is freed here.
bool exports_wasmrun_task_handler_handle(exports_wasmrun_task_handler_own_message_t message, failure_t *failure) {
    wasmrun_task_message_list_announced_object_t objects;
    wasmrun_task_message_method_message_objects(wasmrun_task_message_borrow_message(message), &objects);
    if (objects.len == 0) return reject(failure, "the message announces no object");
    for (size_t i = 0; i < objects.len; i++) {
        if (objects.ptr[i].change == WASMRUN_TASK_MESSAGE_CHANGE_REMOVED) continue;
        if (!shout(&objects.ptr[i], failure)) return false;
    }
    return true;
}
