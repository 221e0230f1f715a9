import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What Node.js prints of an error that nobody catches: where it is, some source, and the error with its message. */
const PLACE = /^((?:file:\/\/|\/).+):(\d+)$/m
const MESSAGE = /^(?:\w*Error\b[^\n]*: .+)$/m

const fatalOf = (line: string): string | undefined => {
  try {
    const { level, msg, err } = JSON.parse(line) as { level?: string; msg?: string; err?: { message?: string } }
    return level === 'fatal' ? [msg, err?.message].filter(Boolean).join(': ') : undefined
  } catch {
    return undefined
  }
}

/**
 * Why a process of a service ended, from what it wrote: its own fatal line, the error that stopped Node.js with the file and line that
 * it is about, or else the last lines as they are.
 */
export function whyEnded(written: string, folder = process.cwd()): string {
  const lines = written.trim().split('\n')
  const fatal = lines.map(fatalOf).findLast(Boolean)
  if (fatal) return fatal
  const [message] = MESSAGE.exec(written) ?? []
  if (!message) return lines.slice(-5).join('\n')
  const [, file, line] = PLACE.exec(written) ?? []
  if (!file) return message
  return `${message} (${relative(folder, file.startsWith('file:') ? fileURLToPath(file) : file)}:${line})`
}
