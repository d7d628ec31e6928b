// Deadlines: every wait of a test ends by itself, with a sentence that names the missing event.

/** Settles as promise does, or fails after so many seconds saying what did not happen. */
export async function within(seconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${seconds} s: ${what}`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again, every 25 ms, until ask() gives something true; gives that. A throw counts as "not yet". */
export async function until(seconds, what, ask) {
  const end = Date.now() + seconds * 1000;
  let last = '';
  while (Date.now() < end) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      last = `: ${error.message}`;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within ${seconds} s: ${what}${last}`);
}
