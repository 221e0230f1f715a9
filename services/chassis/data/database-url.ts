import { readFileSync } from 'node:fs'
import type { Logger } from 'pino'
import { z } from 'zod'

/** A Postgres URL, or a function that reads it again: a rotated password is in the file, not in the process. */
export type DatabaseUrl = string | (() => string)

/**
 * The URL in a file.
 * @throws Error naming the file, and never what it holds
 */
export function readDatabaseUrl(path: string): string {
  let content: string
  try {
    content = readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new Error(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`)
  }
  if (!isPostgresUrl(content)) throw new Error(`${path} holds no Postgres URL (postgres://user:password@host/database)`)
  return content
}

/** What the URL was when it could last be read. */
export function lastGood(url: DatabaseUrl, log: Logger): () => string {
  if (typeof url === 'string') return () => url
  let last = url()
  return () => {
    try {
      last = url()
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'the database URL cannot be read again; the last one stays')
    }
    return last
  }
}

/** As pg reads it, which decodes the parts when it connects. */
function isPostgresUrl(text: string): boolean {
  const url = URL.parse(text)
  if (!url || !/^postgres(?:ql)?:$/.test(url.protocol)) return false
  try {
    for (const part of [url.username, url.password, url.pathname]) decodeURIComponent(part)
    return true
  } catch {
    return false
  }
}

/**
 * The setting that names the file: secrets come as files, since environments leak into logs and process lists. Read at once, so that a wrong one keeps the process from
 * starting, and again at each connect.
 */
export const databaseUrlFile = z
  .string()
  .transform((path, context): (() => string) => {
    try {
      readDatabaseUrl(path)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
    }
    return () => readDatabaseUrl(path)
  })
  .describe('the path of a file with the Postgres URL')
