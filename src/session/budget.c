#include "session/budget.h"

int64_t budget_take(struct budget *budget, int64_t now_ns)
{
    if (budget->filled == budget->count) {
        /* The ring is full, so its next place holds the oldest use. */
        int64_t free_at = budget->used[budget->next] + budget->window_ns;
        if (free_at > now_ns) {
            return free_at - now_ns;
        }
    } else {
        budget->filled++;
    }
    budget->used[budget->next] = now_ns;
    budget->next = (budget->next + 1) % budget->count;
    return 0;
}
