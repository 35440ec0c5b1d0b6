/* Rust's standard library takes its random bytes from bcryptprimitives.dll, which older versions of
   Wine don't have. This offers the one function it calls, by another that Wine does have. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T size)
{
    return SystemFunction036(bytes, (ULONG)size);
}
