/* SPDX-License-Identifier: MIT */
/* Calls under watch: what a function must leave as it found it is looked at after each call. */
#include <string.h>

#include "tests/kern/kern.h"

enum { DEPTH = 96 << 10 /* bytes of the stack that are filled with rubbish */ };

/* What a kernel reads from the stack before it wrote there is never zero by luck. */
static __attribute__((noinline)) void spoil_stack(int byte)
{
    char rubbish[DEPTH];
    memset(rubbish, byte, sizeof rubbish);
    __asm__ volatile("" : : "r"(rubbish) : "memory");
}

#ifdef __x86_64__
/* Any function's arguments pass through the gate untouched: it takes the caller's return address
 * from the stack, so that the kernel finds its stack arguments where it expects them. */
__attribute__((visibility("hidden"))) struct {
    void (*target)(void);
    void *back;
    uint64_t kept[6], marks[6]; /* rbx, rbp, r12 .. r15: the caller's, and what the kernel gets */
    uint64_t damage, flags;
    uint32_t sse, x87;
} call_state = { .marks = { 0x1b1b1b1b1b1b1b1b, 0x2c2c2c2c2c2c2c2c, 0x3d3d3d3d3d3d3d3d,
                            0x4e4e4e4e4e4e4e4e, 0x5f5f5f5f5f5f5f5f, 0x6a6a6a6a6a6a6a6a } };

__asm__(".text\n"
        ".globl call_gate\n"
        ".type call_gate, @function\n"
        "call_gate:\n"
        "    lea call_state(%rip), %r11\n"
        "    pop 8(%r11)\n"
        "    mov %rbx, 16(%r11)\n    mov %rbp, 24(%r11)\n    mov %r12, 32(%r11)\n"
        "    mov %r13, 40(%r11)\n    mov %r14, 48(%r11)\n    mov %r15, 56(%r11)\n"
        "    mov 64(%r11), %rbx\n    mov 72(%r11), %rbp\n    mov 80(%r11), %r12\n"
        "    mov 88(%r11), %r13\n    mov 96(%r11), %r14\n    mov 104(%r11), %r15\n"
        "    call *(%r11)\n"
        "    lea call_state(%rip), %r11\n"
        "    xor 64(%r11), %rbx\n    or %rbx, 112(%r11)\n"
        "    xor 72(%r11), %rbp\n    or %rbp, 112(%r11)\n"
        "    xor 80(%r11), %r12\n    or %r12, 112(%r11)\n"
        "    xor 88(%r11), %r13\n    or %r13, 112(%r11)\n"
        "    xor 96(%r11), %r14\n    or %r14, 112(%r11)\n"
        "    xor 104(%r11), %r15\n    or %r15, 112(%r11)\n"
        "    pushfq\n    pop 120(%r11)\n    cld\n"
        "    stmxcsr 128(%r11)\n    fnstcw 132(%r11)\n"
        "    mov 16(%r11), %rbx\n    mov 24(%r11), %rbp\n    mov 32(%r11), %r12\n"
        "    mov 40(%r11), %r13\n    mov 48(%r11), %r14\n    mov 56(%r11), %r15\n"
        "    push 8(%r11)\n    ret\n"
        ".size call_gate, . - call_gate\n");

void call_gate(void);
void (*call_entry)(void) = call_gate;

enum { SSE_CONTROLS = 0xffc0, SSE_DEFAULT = 0x1f80, X87_DEFAULT = 0x37f, DIRECTION = 0x400 };

void call_begin(void (*fn)(void))
{
    static int byte;
    spoil_stack(byte = (byte * 5 + 0x7f) & 0xff);
    call_state.target = fn;
    call_state.damage = call_state.x87 = 0;
}

void call_end(const char *name)
{
    const uint32_t sse = SSE_DEFAULT, x87 = X87_DEFAULT;
    const uint32_t left = call_state.sse, left_x87 = call_state.x87 & 0xffff;
    if ((left & SSE_CONTROLS) != SSE_DEFAULT || left_x87 != X87_DEFAULT) {
        __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(sse), "m"(x87));
        kern_fail("%s leaves other floating-point controls: mxcsr %#x, x87 %#x", name, left,
                  left_x87);
    }
    if (call_state.flags & DIRECTION)
        kern_fail("%s leaves the direction flag set", name);
    if (call_state.damage)
        kern_fail("%s changes a register that it must keep", name);
}
#else
void call_begin(void (*fn)(void))
{
    (void)fn;
    spoil_stack(0xff);
}

void call_end(const char *name) { (void)name; }
#endif
